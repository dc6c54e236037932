"""What ``stream-infer doctor`` looks at: this machine, the installation, the cluster."""
