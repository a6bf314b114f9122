"""What belongs to agno: the offline model and the demo's AgentOS. Needs the extra `agno`."""
