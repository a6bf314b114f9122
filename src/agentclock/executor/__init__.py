"""Delivery to targets. `targets` holds their settings, `dispatch` the executor that the engine is given."""
