"""Tests of the image and of the compose files. Those that start containers run where DEPOT_TEST_COMPOSE=1 says so."""
