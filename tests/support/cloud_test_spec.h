#pragma once

#include "cloud/state.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// Three stages of a 27B model on L4s, as the tests deploy it.
inline CloudSpec test_spec() {
  CloudSpec spec;
  spec.name = "demo";
  spec.project = "acme";
  spec.region = "europe-west4";
  spec.image = "europe-west4-docker.pkg.dev/acme/demo/commissure:0.1.0-abc";
  spec.source_dir = "/src";
  for (const char* letter : {"a", "b", "c"}) {
    CloudStage stage;
    stage.letter = letter;
    stage.gpu = "nvidia-l4";
    spec.stages.push_back(stage);
  }
  spec.cuts = {20, 44};
  spec.model_name = "gemma";
  spec.bucket = "acme-demo";
  spec.weights.source = WeightsSource::kHub;
  spec.weights.repository = "google/gemma-3-27b-it";
  spec.weights.bucket = spec.bucket;
  spec.weights.prefix = "models/gemma";
  return spec;
}

/// The Knative body that gcloud sends for `deploy_call` of stage c of `test_spec`, as the platform gives it back.
inline Json deployed_stage_c(const CloudSpec& spec, const std::string& release) {
  Json service = *parse_json(R"({
    "metadata": {"name": "demo-c", "labels": {"commissure-deployment": "demo"}, "annotations": {"run.googleapis.com/ingress": "all"}},
    "spec": {
      "template": {
        "metadata": {
          "annotations": {"autoscaling.knative.dev/maxScale": "1", "run.googleapis.com/cpu-throttling": "False",
                          "run.googleapis.com/gpu-zonal-redundancy-disabled": "True"},
          "labels": {}
        },
        "spec": {
          "containerConcurrency": 16, "timeoutSeconds": 3600,
          "serviceAccountName": "demo-c@acme.iam.gserviceaccount.com",
          "nodeSelector": {"run.googleapis.com/accelerator": "nvidia-l4"},
          "containers": [{
            "args": ["stage"],
            "env": [{"name": "STAGE", "value": "c"}, {"name": "K1", "value": "20"}, {"name": "K2", "value": "44"},
                    {"name": "MODEL_DIR", "value": "gs://acme-demo/models/gemma"},
                    {"name": "MODEL_NAME", "value": "gemma"}, {"name": "DEVICE", "value": "cuda"},
                    {"name": "COMMISSURE_REQUIRE_IDENTITY", "value": "https://demo-c-42.europe-west4.run.app"},
                    {"name": "COMMISSURE_ALLOWED_CALLERS", "value": "demo-b@acme.iam.gserviceaccount.com"}],
            "ports": [{"name": "h2c", "containerPort": 8080}],
            "resources": {"limits": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}},
            "startupProbe": {"failureThreshold": 120, "periodSeconds": 2, "timeoutSeconds": 2,
                             "grpc": {"port": 8080, "service": "live"}},
            "livenessProbe": {"failureThreshold": 4, "periodSeconds": 30, "timeoutSeconds": 5,
                              "grpc": {"port": 8080, "service": "live"}}
          }]
        }
      },
      "traffic": [{"latestRevision": true, "percent": 100}]
    },
    "status": {"url": "https://demo-c-42.europe-west4.run.app",
               "conditions": [{"type": "Ready", "status": "True"}],
               "traffic": [{"revisionName": "demo-c-2", "percent": 100}]}
  })");
  service["spec"]["template"]["metadata"]["labels"]["commissure-release"] = release;
  service["spec"]["template"]["spec"]["containers"][0]["image"] = spec.image;
  return service;
}

}  // namespace commissure
