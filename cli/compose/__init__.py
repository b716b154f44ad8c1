"""The one-shot jobs of docker-compose.yml: make secrets, make the demo tenant."""
