"""The pretask: paint synthetic anomalies on normal scans, so that a network can learn to find them."""
