"""What healthy cards of one model measure, and the limits that follow from it."""
