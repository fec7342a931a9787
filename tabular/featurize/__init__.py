"""From columns to features: one class a transformer, put together by `Featurizer`."""
