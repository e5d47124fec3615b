"""Everything that an MLflow shows of a study, to compare."""

from pathlib import Path

from mlflow import MlflowClient


def shown(uri, study, *, with_ids=False, with_times=False):
    """Return it by the runs' names, and without what differs between two equal ones."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    runs = list(client.search_runs([experiment.experiment_id]))
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(runs)
    found = {}
    for run in runs:
        info, data = run.info, run.data
        one = found[info.run_name] = {
            "status": info.status,
            "parent": names.get(data.tags.get("mlflow.parentRunId")),
            "params": data.params,
            "tags": {k: v for k, v in data.tags.items() if k != "mlflow.parentRunId"},
            "inputs": [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs],
            "points": {
                name: [
                    (point.step, point.value, point.timestamp)
                    for point in client.get_metric_history(info.run_id, name)
                ]
                for name in data.metrics
            },
            "artifacts": {
                file.path: Path(client.download_artifacts(info.run_id, file.path)).read_text()
                for file in client.list_artifacts(info.run_id)
            },
        }
        if with_ids:
            one["id"] = info.run_id
        if with_times:
            one["times"] = (info.start_time, info.end_time)
    return found
