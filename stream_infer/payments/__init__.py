"""What is known of payments: a customer's habit, and a terminal's known frauds."""
