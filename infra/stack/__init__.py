"""The local stack: real engines from wheels and locked Maven artefacts, one launcher."""
