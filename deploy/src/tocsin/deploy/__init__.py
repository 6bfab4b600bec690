"""Run the exchange: the command, the policy, a local Kafka."""
