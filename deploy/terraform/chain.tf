# commissure.yaml's keys by the same names, and what each stage's service becomes of them: values alone, so that a test
# computes them without a provider and compares them with what `commissure up` sends. Keys of a stage are in services.tf.

variable "name" {
  description = "Begins the names of all resources; stage A is NAME-a."
  type        = string
  default     = "commissure"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,22}[a-z0-9]$", var.name))
    error_message = "name must be 4 to 24 lower-case letters, digits and hyphens, a letter first, no hyphen last."
  }
}

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where everything is, e.g. europe-west4."
  type        = string
}

variable "model" {
  description = "What lies in the bucket below models/: a folder (safetensors) or a folder and a file (NAME/FILE.gguf)."
  type        = string
  validation {
    condition     = can(regex("^[^/]+(/[^/]+)*$", var.model)) && (!endswith(var.model, ".gguf") || strcontains(var.model, "/"))
    error_message = "model must be a folder, or a folder and a file, e.g. smollm2/SmolLM2-135M-Instruct.Q4_1.gguf."
  }
}

variable "model_name" {
  description = "What clients call the model; empty: the first part of `model`."
  type        = string
  default     = ""
}

variable "context" {
  description = "Longest sequence in tokens; 0: the model's, at most 8192."
  type        = number
  default     = 0
}

variable "streams" {
  description = "Full contexts that every stage has room for; needs `context`. 0: four."
  type        = number
  default     = 0
}

variable "kv_dtype" {
  description = "Keys and values of every stage: auto (bf16), bf16, or int8, which takes half the memory."
  type        = string
  default     = "auto"
  validation {
    condition     = contains(["auto", "bf16", "int8"], var.kv_dtype)
    error_message = "kv_dtype must be auto, bf16 or int8."
  }
}

variable "quant" {
  description = "What stages make of float weights while they load them: none, int8 or nf4, with +head the head too."
  type        = string
  default     = "none"
  validation {
    condition     = contains(["none", "int8", "nf4", "int8+head", "nf4+head"], var.quant)
    error_message = "quant must be none, int8, nf4, int8+head or nf4+head."
  }
}

variable "precision" {
  description = "COMMISSURE_PRECISION of every stage: empty, fast or exact."
  type        = string
  default     = ""
}

variable "weights" {
  description = "How stages read the weights: bucket (range requests), mounted (a Cloud Storage volume) or baked (they lie in the image, which `make build-cloud` then builds around them; no stage may read the bucket)."
  type        = string
  default     = "bucket"
  validation {
    condition     = contains(["bucket", "mounted", "baked"], var.weights)
    error_message = "weights must be bucket, mounted or baked."
  }
}

variable "cuts" {
  description = "Layers at which stages B, C, ... begin; one fewer than there are stages. `commissure plan` says which."
  type        = list(number)
}

variable "warm_schedule" {
  description = "When Cloud Scheduler wakes the stages, five cron fields, e.g. 0 8 * * 1-5; empty: never. They stay up for about fifteen minutes."
  type        = string
  default     = ""
}

variable "time_zone" {
  description = "Of `warm_schedule`, a name of the tz database, e.g. Europe/Berlin."
  type        = string
  default     = "Etc/UTC"
}

variable "bucket" {
  description = "Bare name of the bucket for the weights; empty: PROJECT-NAME."
  type        = string
  default     = ""
}

variable "image" {
  description = "Tag of the image in the module's repository (`make build-cloud` pushes it), or a whole image name of your own."
  type        = string
  default     = "latest"
}

variable "access" {
  description = "Who may call stage A: iam (Google accounts in `invokers`), key (the API key), both, or public (everybody, without a key)."
  type        = string
  default     = "iam"
  validation {
    condition     = contains(["iam", "key", "both", "public"], var.access)
    error_message = "access must be iam, key, both or public."
  }
}

variable "network" {
  description = "An existing VPC network for outgoing traffic of all stages but the last; empty: none."
  type        = string
  default     = ""
}

variable "subnet" {
  description = "Its subnet, with Private Google Access."
  type        = string
  default     = ""
}

variable "internal" {
  description = "Stages B, C, ... take traffic from the network only; needs `network` or `create_network`."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = {}
}

locals {
  bucket     = var.bucket == "" ? "${var.project}-${var.name}" : var.bucket
  repository = "${var.region}-docker.pkg.dev/${var.project}/${var.name}"
  own_image  = !strcontains(var.image, "/") # built by `make build-cloud`
  image      = local.own_image ? "${local.repository}/commissure:${var.image}" : var.image
  has_key    = contains(["key", "both"], var.access)
  is_open    = contains(["key", "public"], var.access)
  labels     = merge({ commissure-deployment = var.name }, var.labels)

  # `model` is a folder, or a folder and the file that is the model.
  model_file   = endswith(var.model, ".gguf") ? "/${basename(var.model)}" : ""
  model_folder = local.model_file == "" ? var.model : dirname(var.model)
  place        = { bucket = "gs://${local.bucket}/models/${local.model_folder}", mounted = "/models/models/${local.model_folder}", baked = "/model" }
  letters      = [for index in range(length(var.stages)) : substr("abcdefghijklmnopqrstuvwxyz", index, 1)]
  # Google promises this address before the service is there.
  urls = {
    for letter in local.letters :
    letter => "https://${var.name}-${letter}-${local.project_number}.${var.region}.run.app"
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
        MODEL_DIR  = "${local.place[var.weights]}${local.model_file}"
        MODEL_NAME = var.model_name == "" ? split("/", var.model)[0] : var.model_name
        DEVICE     = stage.device != "auto" ? stage.device : stage.gpu == "" ? "cpu" : "cuda"
      },
      index + 1 < length(var.stages) ? {
        "${upper(local.letters[index + 1])}_ENDPOINT" = local.urls[local.letters[index + 1]]
      } : {},
      index > 0 ? {
        COMMISSURE_REQUIRE_IDENTITY = local.urls[local.letters[index]]
        COMMISSURE_ALLOWED_CALLERS  = local.accounts[local.letters[index - 1]]
      } : {},
      var.kv_dtype == "int8" ? { COMMISSURE_KV_DTYPE = "int8" } : {},
      coalesce(stage.quant, var.quant) == "none" ? {} : { QUANT = coalesce(stage.quant, var.quant) },
      var.precision == "" ? {} : { COMMISSURE_PRECISION = var.precision },
    )
  ]

  # The services by letter, each with the keys of its stage.
  stages = {
    for index, stage in var.stages : local.letters[index] => merge(stage, {
      service         = "${var.name}-${local.letters[index]}"
      account         = local.accounts[local.letters[index]]
      image           = local.image
      arguments       = local.arguments
      environment     = local.environment[index]
      secrets         = index == 0 && local.has_key ? { COMMISSURE_API_KEY = "${var.name}-api-key" } : {}
      timeout_seconds = 3600
      port            = 8080
      http2           = index > 0
      internal        = var.internal && index > 0
      calls           = index + 1 < length(var.stages)
      mounted_bucket  = var.weights == "mounted" ? local.bucket : ""
      # A stage answers once it has read the headers of all its weight files; loading is not waited for.
      startup_probe = {
        http_path = index == 0 ? "/live" : ""
        grpc      = index == 0 ? "" : "live"
        port      = 8080
        timeout   = 2
        period    = 2
        failures  = 120
      }
      liveness_probe = {
        http_path = index == 0 ? "/live" : ""
        grpc      = index == 0 ? "" : "live"
        port      = 8080
        timeout   = 5
        period    = 30
        failures  = 4
      }
    })
  }

  # Where the model's files belong before they are read or baked.
  weights_folder = local.place["bucket"]

  # Under which condition a stage may read objects: those of the model's folder. Listing is a right on the bucket.
  weights_condition = "resource.type == \"storage.googleapis.com/Bucket\" || resource.name.startsWith(\"projects/_/buckets/${local.bucket}/objects/models/${local.model_folder}/\")"

  # What `make build-cloud` gives Cloud Build.
  build = {
    config        = var.weights == "baked" ? "deploy/cloudbuild-baked.yaml" : "deploy/cloudbuild.yaml"
    substitutions = join(",", concat(["_IMAGE=${local.image}"], var.weights == "baked" ? ["_MODEL=${local.place["bucket"]}"] : []))
  }

  # Who calls whom: the letter of a stage to that of the one before it.
  callers = { for index, letter in local.letters : letter => local.letters[index - 1] if index > 0 }

  # What Cloud Scheduler calls by the clock; null without a schedule.
  warm_job = var.warm_schedule == "" ? null : {
    name        = "${var.name}-warm"
    description = "commissure-deployment=${var.name}"
    schedule    = var.warm_schedule
    time_zone   = var.time_zone
    uri         = "${local.urls["a"]}/health"
    method      = "GET"
    deadline    = "180s"
    retries     = 5
    pause       = { least = "30s", most = "120s" }
    account     = local.is_open ? "" : "${var.name}-warm@${var.project}.iam.gserviceaccount.com"
    audience    = local.urls["a"]
  }
}

# What no chain can be; the services wait for it.
resource "terraform_data" "chain" {
  lifecycle {
    precondition {
      condition     = length(var.cuts) + 1 == length(var.stages)
      error_message = "There must be one cut fewer than stages."
    }
    precondition {
      condition     = var.weights != "baked" || local.own_image
      error_message = "Baked weights need the image that `make build-cloud` builds around them: image must be a tag."
    }
    precondition {
      condition     = !local.own_image || alltrue([for stage in var.stages : stage.gpu == ""])
      error_message = "The image that `make build-cloud` builds computes on CPUs only and would refuse to start beside a GPU: leave gpu empty, or set image to one with GPU kernels."
    }
  }
}
