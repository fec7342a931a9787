"""The shared engine: search, budgets, runs, metrics and ensembles on plain arrays.

Nothing here knows a calendar, a data frame or an image; tasks bring those.
"""

import logging

logging.getLogger("automl").addHandler(logging.NullHandler())  # silent unless the application says otherwise
