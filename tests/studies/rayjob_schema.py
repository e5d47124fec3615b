"""The RayJob of ray.io/v1, as KubeRay's API reference describes it (KubeRay 1.5.1 and newer).

Only what is written in the reference is allowed; pod templates are checked with the schemas of
Kubernetes itself.
"""

WHOLE = {"type": "integer", "minimum": 0}
TRUTH = {"type": "boolean"}
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
POD_TEMPLATE = {"type": "object", "required": ["spec"]}


def mapping(required, **properties):
    """A mapping that has no other keys than these."""
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def one_of(*values):
    return {"enum": list(values)}


HEAD_GROUP = mapping(
    ["template"],
    template=POD_TEMPLATE,
    headService={"type": "object"},
    enableIngress=TRUTH,
    rayStartParams=TEXTS,
    serviceType=one_of("ClusterIP", "NodePort", "LoadBalancer"),
    labels=TEXTS,
    resources=TEXTS,
)
WORKER_GROUP = mapping(
    ["groupName", "template"],
    suspend=TRUTH,
    groupName=TEXT,
    replicas=WHOLE,
    minReplicas=WHOLE,
    maxReplicas=WHOLE,
    idleTimeoutSeconds=WHOLE,
    numOfHosts=WHOLE,
    rayStartParams=TEXTS,
    template=POD_TEMPLATE,
    scaleStrategy={"type": "object"},
    labels=TEXTS,
    resources=TEXTS,
)
CLUSTER = mapping(
    ["headGroupSpec"],
    suspend=TRUTH,
    managedBy=one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    autoscalerOptions={"type": "object"},
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=TRUTH,
    gcsFaultToleranceOptions={"type": "object"},
    authOptions=mapping(
        [], mode=one_of("disabled", "token"), enableK8sTokenAuth=TRUTH, secretName=TEXT
    ),
    headGroupSpec=HEAD_GROUP,
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    workerGroupSpecs={"type": "array", "items": WORKER_GROUP},
)
JOB = mapping(
    ["entrypoint", "rayClusterSpec"],
    activeDeadlineSeconds=WHOLE,
    backoffLimit=WHOLE,
    rayClusterSpec=CLUSTER,
    submitterPodTemplate=POD_TEMPLATE,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=mapping([], backoffLimit=WHOLE),
    managedBy=CLUSTER["properties"]["managedBy"],
    deletionStrategy={"type": "object"},
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=WHOLE,
    shutdownAfterJobFinishes=TRUTH,
    suspend=TRUTH,
)
RAY_JOB = mapping(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion=one_of("ray.io/v1"),
    kind=one_of("RayJob"),
    metadata=mapping(["name"], name=TEXT, labels=TEXTS, annotations=TEXTS, namespace=TEXT),
    spec=JOB,
)
