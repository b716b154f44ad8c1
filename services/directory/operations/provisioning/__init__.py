"""What an identity provider may do through its connection (S1 to S14)."""
