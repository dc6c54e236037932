"""Training of forecasts on one's own roads: what a sensor will measure, less what it does now."""
