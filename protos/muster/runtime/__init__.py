"""What every service needs to speak gRPC well; it says nothing about users, groups or files."""
