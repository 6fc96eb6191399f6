"""The operators' page counts what happened and names no tenant."""

from dataclasses import fields

from dstore.base.metrics import Counter, Gauge, Histogram, create_metrics


def test_answers_are_counted_by_operation_and_status() -> None:
    """Counted in plain integers, they are on the page like any other metric."""
    metrics = create_metrics()
    get_entry = metrics.operation("v1", "get_entry")
    get_entry.answered(200, 0.002)
    get_entry.answered(200, 0.002)
    get_entry.answered(404, 20.0, received_bytes=3, sent_bytes=4)
    page = metrics.render().decode()
    assert 'dstore_requests_total{operation="get_entry",status="200",surface="v1"} 2.0' in page
    assert 'dstore_requests_total{operation="get_entry",status="404",surface="v1"} 1.0' in page
    assert 'dstore_request_seconds_count{operation="get_entry",surface="v1"} 3.0' in page
    assert 'dstore_request_seconds_sum{operation="get_entry",surface="v1"} 20.004' in page
    within = 'dstore_request_seconds_bucket{le="%s",operation="get_entry",surface="v1"} %s.0'
    for step, count in (("0.001", 0), ("0.0025", 2), ("10.0", 2), ("+Inf", 3)):
        assert within % (step, count) in page
    assert 'dstore_request_bytes_total{operation="get_entry",surface="v1"} 3.0' in page
    assert 'dstore_response_bytes_total{operation="get_entry",surface="v1"} 4.0' in page


def test_operation_is_bound_once() -> None:
    """Two routes of one operation share its children."""
    metrics = create_metrics()
    assert metrics.operation("v1", "put_entry") is metrics.operation("v1", "put_entry")


def test_two_processes_in_one_interpreter_count_apart() -> None:
    """A simulated cluster runs many nodes in one process."""
    one, other = create_metrics(), create_metrics()
    one.writes.inc()
    assert b"dstore_writes_total 1.0" in one.render()
    assert b"dstore_writes_total 0.0" in other.render()


def test_every_metric_is_named_after_its_field_and_labelled_without_tenants() -> None:
    """I11: the page shows no tenant, table or key; and a metric is found where it is made."""
    metrics = create_metrics()
    for field in fields(metrics):
        metric = getattr(metrics, field.name)
        if isinstance(metric, Counter | Gauge | Histogram):
            assert metric._name == f"dstore_{field.name}"
            assert not {"tenant", "table", "key", "id"} & set(metric._labelnames)
