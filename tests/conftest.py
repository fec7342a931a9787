"""Profiles for hypothesis: `no_shrink` tells that something fails without looking for the smallest example."""

from hypothesis import Phase, settings

settings.register_profile("no_shrink", phases=[Phase.explicit, Phase.generate])
