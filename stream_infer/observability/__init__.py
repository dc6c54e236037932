"""What a running worker says about itself: metrics, health, and the port that serves both."""
