"""The ledger: every attempt on every card that this issuer has seen, the failed ones too."""
