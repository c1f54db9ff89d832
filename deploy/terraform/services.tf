# The stages' services. A key that every stage has is an attribute of `stages`, by its name in commissure.yaml, and is used
# in the resource below as each.value.NAME.

variable "stages" {
  description = "One entry a stage, first to last. A chain has one instance of each stage; min_instances 1 keeps it warm, and billed."
  type = list(object({
    cpu              = optional(string, "4")
    memory           = optional(string, "16Gi")
    gpu              = optional(string, "")
    device           = optional(string, "auto")
    zonal_redundancy = optional(bool, false)
    min_instances    = optional(number, 0)
    max_instances    = optional(number, 1)
    concurrency      = optional(number, 16)
    quant            = optional(string)
  }))
  validation {
    condition     = length(var.stages) >= 1 && length(var.stages) <= 26
    error_message = "stages: 1 to 26 are possible."
  }
  validation {
    condition     = length(var.stages) == 1 || alltrue([for stage in var.stages : stage.max_instances == 1])
    error_message = "A chain has one instance of each stage: max_instances must be 1."
  }
  validation {
    condition     = alltrue([for stage in var.stages : stage.quant == null || contains(["none", "int8", "nf4", "int8+head", "nf4+head"], coalesce(stage.quant, "none"))])
    error_message = "quant of a stage must be none, int8, nf4, int8+head or nf4+head."
  }
  validation {
    condition     = alltrue([for stage in var.stages : contains(["auto", "cpu", "cuda"], stage.device) && (stage.device != "cuda" || stage.gpu != "")])
    error_message = "device of a stage must be auto, cpu or, beside a gpu, cuda."
  }
}

resource "google_cloud_run_v2_service" "stage" {
  for_each            = local.stages
  name                = each.value.service
  location            = var.region
  ingress             = each.value.internal ? "INGRESS_TRAFFIC_INTERNAL_ONLY" : (var.domain != "" && !each.value.http2 ? "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" : "INGRESS_TRAFFIC_ALL")
  deletion_protection = var.deletion_protection
  labels              = merge(local.labels, { commissure-stage = each.key })

  scaling {
    min_instance_count = each.value.min_instances
  }

  template {
    service_account                  = google_service_account.stage[each.key].email
    timeout                          = "${each.value.timeout_seconds}s"
    max_instance_request_concurrency = each.value.concurrency
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    gpu_zonal_redundancy_disabled    = each.value.gpu == "" ? null : !each.value.zonal_redundancy
    labels                           = merge(local.labels, { commissure-stage = each.key })

    scaling {
      max_instance_count = each.value.max_instances
    }

    dynamic "node_selector" {
      for_each = each.value.gpu == "" ? [] : [each.value.gpu]
      content {
        accelerator = node_selector.value
      }
    }

    dynamic "vpc_access" {
      for_each = each.value.calls && local.has_network ? [1] : []
      content {
        egress = "ALL_TRAFFIC"
        network_interfaces {
          network    = local.network
          subnetwork = local.subnet
        }
      }
    }

    dynamic "volumes" {
      for_each = each.value.mounted_bucket == "" ? [] : [each.value.mounted_bucket]
      content {
        name = "weights"
        gcs {
          bucket    = volumes.value
          read_only = true
        }
      }
    }

    # Scrapes stage A's /metrics, which tells of all stages, into Google Managed Prometheus.
    dynamic "containers" {
      for_each = var.prometheus_sidecar && each.key == "a" ? [var.prometheus_image] : []
      content {
        name       = "prometheus"
        image      = containers.value
        depends_on = ["stage"]
        resources {
          limits   = { cpu = "1", memory = "512Mi" }
          cpu_idle = false
        }
      }
    }

    containers {
      name  = "stage"
      image = each.value.image
      args  = each.value.arguments

      ports {
        name           = each.value.http2 ? "h2c" : "http1"
        container_port = each.value.port
      }

      resources {
        limits            = merge({ cpu = each.value.cpu, memory = each.value.memory }, each.value.gpu == "" ? {} : { "nvidia.com/gpu" = "1" })
        cpu_idle          = false
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = each.value.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = each.value.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      dynamic "volume_mounts" {
        for_each = each.value.mounted_bucket == "" ? [] : [1]
        content {
          name       = "weights"
          mount_path = "/models"
        }
      }

      startup_probe {
        timeout_seconds   = each.value.startup_probe.timeout
        period_seconds    = each.value.startup_probe.period
        failure_threshold = each.value.startup_probe.failures
        dynamic "http_get" {
          for_each = each.value.startup_probe.http_path == "" ? [] : [each.value.startup_probe.http_path]
          content {
            path = http_get.value
            port = each.value.startup_probe.port
          }
        }
        dynamic "grpc" {
          for_each = each.value.startup_probe.grpc == "" ? [] : [each.value.startup_probe.grpc]
          content {
            service = grpc.value
            port    = each.value.startup_probe.port
          }
        }
      }

      liveness_probe {
        timeout_seconds   = each.value.liveness_probe.timeout
        period_seconds    = each.value.liveness_probe.period
        failure_threshold = each.value.liveness_probe.failures
        dynamic "http_get" {
          for_each = each.value.liveness_probe.http_path == "" ? [] : [each.value.liveness_probe.http_path]
          content {
            path = http_get.value
            port = each.value.liveness_probe.port
          }
        }
        dynamic "grpc" {
          for_each = each.value.liveness_probe.grpc == "" ? [] : [each.value.liveness_probe.grpc]
          content {
            service = grpc.value
            port    = each.value.liveness_probe.port
          }
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = !var.internal || local.has_network
      error_message = "Internal stages are reached through a VPC network only: set network or create_network."
    }
    precondition {
      condition     = !var.prometheus_sidecar || !local.has_key
      error_message = "The Prometheus sidecar has no API key, and /metrics asks for one under access key and both: set access to iam or public."
    }
  }
  depends_on = [
    terraform_data.chain, google_project_service.this, google_storage_bucket_iam_member.weights, google_secret_manager_secret_iam_member.api_key,
    google_project_iam_member.metrics,
  ]
}
