"""Is everything there that a run needs: packages, stores, room; each check whatever the others find."""
