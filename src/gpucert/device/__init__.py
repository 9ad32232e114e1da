"""The card as software sees it: one Protocol, a driver behind it, a capture, or a virtual card."""
