"""The station: the host as software sees it, and what stands between it and a certificate."""
