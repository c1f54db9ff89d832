data "google_project" "this" {}

locals {
  bucket      = var.bucket == "" ? "${var.project}-${var.name}" : var.bucket
  repository  = "${var.region}-docker.pkg.dev/${var.project}/${var.name}"
  image       = strcontains(var.image, "/") ? var.image : "${local.repository}/commissure:${var.image}"
  has_key     = contains(["key", "both"], var.access)
  is_open     = contains(["key", "public"], var.access)
  network     = var.create_network ? google_compute_network.this[0].name : var.network
  subnet      = var.create_network ? google_compute_subnetwork.this[0].name : coalesce(var.subnet, var.network, "none")
  has_network = var.create_network || var.network != ""
  labels      = merge({ commissure-deployment = var.name }, var.labels)
}

resource "google_project_service" "this" {
  for_each = toset([
    "artifactregistry.googleapis.com", "cloudbuild.googleapis.com", "cloudscheduler.googleapis.com", "iam.googleapis.com", "logging.googleapis.com",
    "monitoring.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com", "storage.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "this" {
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  labels        = local.labels
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = var.keep_images
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "604800s"
    }
  }
  depends_on = [google_project_service.this]
}

resource "google_storage_bucket" "this" {
  name                        = local.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = local.labels
  depends_on                  = [google_project_service.this]
}

module "chain" {
  source         = "./chain"
  name           = var.name
  project        = var.project
  project_number = data.google_project.this.number
  region         = var.region
  image          = local.image
  own_image      = !strcontains(var.image, "/")
  bucket         = local.bucket
  model          = var.model
  weights        = var.weights
  model_name     = var.model_name == "" ? split("/", var.model)[0] : var.model_name
  cuts           = var.cuts
  context        = var.context
  streams        = var.streams
  precision      = var.precision
  kv_dtype       = var.kv_dtype
  internal       = var.internal
  api_key_secret = local.has_key ? google_secret_manager_secret.api_key[0].secret_id : ""
  open           = local.is_open
  warm_schedule  = var.warm_schedule
  time_zone      = var.time_zone
  stages         = var.stages
}

resource "google_cloud_run_v2_service" "stage" {
  for_each            = module.chain.stages
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
        tcp_socket {
          port = each.value.startup_probe.tcp_port
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
      condition     = length(var.cuts) + 1 == length(var.stages)
      error_message = "There must be one cut fewer than stages."
    }
    precondition {
      condition     = var.weights != "baked" || !strcontains(var.image, "/")
      error_message = "Baked weights need the image that `make build-cloud` builds around them: image must be a tag."
    }
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
    google_project_service.this, google_storage_bucket_iam_member.weights, google_secret_manager_secret_iam_member.api_key,
    google_project_iam_member.metrics,
  ]
}
