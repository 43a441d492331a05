"""Policies as objects of a Kubernetes cluster. Imported only where they are asked for (extra ``kubernetes``)."""
