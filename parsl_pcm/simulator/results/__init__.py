"""What came of a simulated campaign: beside the physical limit, over seeds, as a picture."""
