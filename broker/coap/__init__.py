"""CoAP on top of core: topics as resources, observers as sinks. It knows neither sockets nor clocks."""
