"""What programs ask for, in JSON, with a token: see `console.accounts.bearer`."""
