variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where everything is, e.g. europe-west4."
  type        = string
}

variable "name" {
  description = "Begins the names of all resources; stage A is NAME-a."
  type        = string
  default     = "commissure"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,22}[a-z0-9]$", var.name))
    error_message = "name must be 4 to 24 lower-case letters, digits and hyphens, a letter first, no hyphen last."
  }
}

variable "image" {
  description = "Tag of the image in the module's repository (`make build-cloud` pushes it), or a whole image name of your own."
  type        = string
  default     = "latest"
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

variable "cuts" {
  description = "Layers at which stages B, C, ... begin; one fewer than there are stages. `commissure plan` says which."
  type        = list(number)
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

variable "precision" {
  description = "COMMISSURE_PRECISION of every stage: empty, fast or exact."
  type        = string
  default     = ""
}

variable "stages" {
  description = "One entry a stage, first to last. A chain has one instance of each stage; min_instances 1 keeps it warm, and billed."
  type = list(object({
    cpu              = optional(string, "4")
    memory           = optional(string, "16Gi")
    gpu              = optional(string, "")
    zonal_redundancy = optional(bool, false)
    min_instances    = optional(number, 0)
    max_instances    = optional(number, 1)
    concurrency      = optional(number, 16)
  }))
  validation {
    condition     = length(var.stages) >= 1 && length(var.stages) <= 26
    error_message = "stages: 1 to 26 are possible."
  }
  validation {
    condition     = length(var.stages) == 1 || alltrue([for stage in var.stages : stage.max_instances == 1])
    error_message = "A chain has one instance of each stage: max_instances must be 1."
  }
}

variable "bucket" {
  description = "Bare name of the bucket for the weights; empty: PROJECT-NAME."
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

variable "access" {
  description = "Who may call stage A: iam (Google accounts in `invokers`), key (the API key), both, or public (everybody, without a key)."
  type        = string
  default     = "iam"
  validation {
    condition     = contains(["iam", "key", "both", "public"], var.access)
    error_message = "access must be iam, key, both or public."
  }
}

variable "invokers" {
  description = "Members that may call stage A under access iam or both, e.g. user:me@example.com."
  type        = list(string)
  default     = []
}

variable "internal" {
  description = "Stages B, C, ... take traffic from the network only; needs `network` or `create_network`."
  type        = bool
  default     = false
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

variable "create_network" {
  description = "Make a VPC and a subnet with Private Google Access instead of using `network`."
  type        = bool
  default     = false
}

variable "subnet_range" {
  description = "Addresses of the subnet that create_network makes; /26 or larger."
  type        = string
  default     = "10.8.0.0/26"
}

variable "domain" {
  description = "A domain for an external load balancer in front of stage A; empty: no load balancer."
  type        = string
  default     = ""
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

variable "alert_emails" {
  description = "Who hears of alerts; empty: alerts are there and tell nobody."
  type        = list(string)
  default     = []
}

variable "latency_seconds" {
  description = "95th percentile of stage A's answers above which an alert opens; answers are streams, so this is their whole length."
  type        = number
  default     = 120
}

variable "cold_start_seconds" {
  description = "95th percentile of container start-up above which an alert opens."
  type        = number
  default     = 60
}

variable "monthly_budget" {
  description = "Cost of a month, in the billing account's currency, of which half, nine tenths and all (spent or foreseen) are told to its administrators and `alert_emails`; 0: none. Nothing is stopped."
  type        = number
  default     = 0
  validation {
    condition     = var.monthly_budget >= 0 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget must be a whole number, zero or more."
  }
}

variable "billing_account" {
  description = "Id of the project's billing account, for `monthly_budget`; who applies needs roles/billing.costsManager on it."
  type        = string
  default     = ""
}

variable "prometheus_sidecar" {
  description = "Put Google's Prometheus sidecar beside stage A, which scrapes /metrics (of all stages) into Managed Prometheus; 1 vCPU and 512Mi more, billed with it. Not with access key or both: /metrics asks for the key then."
  type        = bool
  default     = false
}

variable "prometheus_image" {
  description = "The sidecar's image."
  type        = string
  default     = "us-docker.pkg.dev/cloud-ops-agents-artifacts/cloud-run-gmp-sidecar/cloud-run-gmp-sidecar:1.1.1"
}

variable "keep_images" {
  description = "Newest images that the repository's clean-up keeps."
  type        = number
  default     = 5
}

variable "labels" {
  description = "Labels of every resource that takes them."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether terraform refuses to delete the services."
  type        = bool
  default     = false
}
