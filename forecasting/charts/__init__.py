"""Charts of what was forecast beside what came: as plotly figures, offline pages, and PNG, PDF or SVG pictures."""
