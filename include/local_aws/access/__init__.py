"""Who may do what: IAM's evaluation of policies, and its enforcement on the calls that reach the local AWS."""
