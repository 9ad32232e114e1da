"""How a ledger of an older gpucert becomes one of this version."""
