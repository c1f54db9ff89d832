# What each stage's service is, as values alone: no provider is needed to compute it, so a test compares it with what
# `commissure up` sends. The resources around it are in the folder above.

variable "name" { type = string }
variable "project" { type = string }
variable "project_number" { type = string }
variable "region" { type = string }
variable "image" { type = string }
variable "own_image" { type = bool } # built by `make build-cloud`
variable "bucket" { type = string }
variable "model" { type = string }
variable "weights" { type = string }
variable "model_name" { type = string }
variable "cuts" { type = list(number) }
variable "context" { type = number }
variable "streams" { type = number }
variable "precision" { type = string }
variable "kv_dtype" { type = string }
variable "internal" { type = bool }
variable "api_key_secret" { type = string }
variable "open" { type = bool }
variable "warm_schedule" { type = string }
variable "time_zone" { type = string }
variable "stages" {
  type = list(object({
    cpu              = string
    memory           = string
    gpu              = string
    zonal_redundancy = bool
    min_instances    = number
    max_instances    = number
    concurrency      = number
  }))
}

locals {
  # `model` is a folder, or a folder and the file that is the model.
  file    = endswith(var.model, ".gguf") ? "/${basename(var.model)}" : ""
  folder  = local.file == "" ? var.model : dirname(var.model)
  place   = { bucket = "gs://${var.bucket}/models/${local.folder}", mounted = "/models/models/${local.folder}", baked = "/model" }
  letters = [for index in range(length(var.stages)) : substr("abcdefghijklmnopqrstuvwxyz", index, 1)]
  # Google promises this address before the service is there.
  urls = {
    for letter in local.letters :
    letter => "https://${var.name}-${letter}-${var.project_number}.${var.region}.run.app"
  }
  accounts = {
    for letter in local.letters : letter => "${var.name}-${letter}@${var.project}.iam.gserviceaccount.com"
  }
  arguments = concat(
    ["stage"],
    var.context > 0 ? ["--max-model-len", tostring(var.context)] : [],
    var.context > 0 && var.streams > 0 ? [
      "--kv-tokens", tostring(var.context * var.streams),
      "--max-num-seqs", tostring(min(1024, max(var.streams, var.stages[0].concurrency))),
    ] : [],
    var.weights == "mounted" ? ["--read-weights"] : [],
  )

  environment = [
    for index, stage in var.stages : merge(
      { STAGE = local.letters[index] },
      { for number, cut in var.cuts : "K${number + 1}" => tostring(cut) },
      {
        MODEL_DIR  = "${local.place[var.weights]}${local.file}"
        MODEL_NAME = var.model_name
        DEVICE     = stage.gpu == "" ? "cpu" : "cuda"
      },
      index + 1 < length(var.stages) ? {
        "${upper(local.letters[index + 1])}_ENDPOINT" = local.urls[local.letters[index + 1]]
      } : {},
      index > 0 ? {
        COMMISSURE_REQUIRE_IDENTITY = local.urls[local.letters[index]]
        COMMISSURE_ALLOWED_CALLERS  = local.accounts[local.letters[index - 1]]
      } : {},
      var.kv_dtype == "int8" ? { COMMISSURE_KV_DTYPE = "int8" } : {},
      var.precision == "" ? {} : { COMMISSURE_PRECISION = var.precision },
    )
  ]
}

output "stages" {
  description = "The services by letter."
  precondition {
    condition     = !var.own_image || alltrue([for stage in var.stages : stage.gpu == ""])
    error_message = "The image that `make build-cloud` builds computes on CPUs only and would refuse to start beside a GPU: leave gpu empty, or set image to one with GPU kernels."
  }
  value = {
    for index, stage in var.stages : local.letters[index] => {
      service          = "${var.name}-${local.letters[index]}"
      account          = local.accounts[local.letters[index]]
      image            = var.image
      arguments        = local.arguments
      environment      = local.environment[index]
      secrets          = index == 0 && var.api_key_secret != "" ? { COMMISSURE_API_KEY = var.api_key_secret } : {}
      cpu              = stage.cpu
      memory           = stage.memory
      gpu              = stage.gpu
      zonal_redundancy = stage.zonal_redundancy
      concurrency      = stage.concurrency
      min_instances    = stage.min_instances
      max_instances    = stage.max_instances
      timeout_seconds  = 3600
      port             = 8080
      http2            = index > 0
      internal         = var.internal && index > 0
      calls            = index + 1 < length(var.stages)
      mounted_bucket   = var.weights == "mounted" ? var.bucket : ""
      startup_probe    = { tcp_port = 8080, timeout = 2, period = 2, failures = 120 }
      liveness_probe = {
        http_path = index == 0 ? "/live" : ""
        grpc      = index == 0 ? "" : "live"
        port      = 8080
        timeout   = 5
        period    = 30
        failures  = 4
      }
    }
  }
}

output "weights_folder" {
  description = "Where the model's files belong before they are read or baked."
  value       = local.place["bucket"]
}

output "build" {
  description = "What `make build-cloud` gives Cloud Build."
  value = {
    config        = var.weights == "baked" ? "deploy/cloudbuild-baked.yaml" : "deploy/cloudbuild.yaml"
    substitutions = join(",", concat(["_IMAGE=${var.image}"], var.weights == "baked" ? ["_MODEL=${local.place["bucket"]}"] : []))
  }
}

output "callers" {
  description = "Who calls whom: the letter of a stage to that of the one before it."
  value       = { for index, letter in local.letters : letter => local.letters[index - 1] if index > 0 }
}

output "warm_job" {
  description = "What Cloud Scheduler calls by the clock; null without a schedule."
  value = var.warm_schedule == "" ? null : {
    name      = "${var.name}-warm"
    schedule  = var.warm_schedule
    time_zone = var.time_zone
    uri       = "${local.urls["a"]}/health"
    method    = "GET"
    deadline  = "180s"
    retries   = 5
    pause     = { least = "30s", most = "120s" }
    account   = var.open ? "" : "${var.name}-warm@${var.project}.iam.gserviceaccount.com"
    audience  = local.urls["a"]
  }
}
