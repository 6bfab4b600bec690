"""`tocsin audit`: the record of the exchange, sealed, searched, verified and proved."""
