"""The device side of delivery: a durable outbox and its MQTT publisher."""
