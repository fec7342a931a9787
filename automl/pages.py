"""What all HTML pages with charts share."""

from __future__ import annotations

from typing import Any

CHART: dict[str, Any] = {"showSendToCloud": False, "displaylogo": False}
"""How plotly shows a chart: without the button that sends its data to a server."""
