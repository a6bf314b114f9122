"""`python -m agentclock`."""

from agentclock.cli.main import app

if __name__ == "__main__":
    app(prog_name="agentclock")
