"""What is known of roads: sensor tables, units, levels of service, and the step over readings."""
