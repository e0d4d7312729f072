"""What several test files share: small recipes, plans, stores and files, and programs that they run."""
