#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/metric_names.h"
#include "api/vocabulary.h"
#include "core/json.h"
#include "engine/adapter_keeper.h"
#include "net/public_fetch.h"
#include "net/span_exporter.h"
#include "page/page_files.h"

namespace commissure {

/// How the API presents itself.
struct ApiOptions {
  std::vector<std::string> model_aliases = {};  ///< accepted beside the served name; listed by /v1/models
  std::vector<std::string> api_keys = {};       ///< empty: open to everyone
  /// Origins that browsers may call from, beside the server's own and those of this machine; {"*"}: any.
  std::vector<std::string> cors_origins = {};
  bool is_local = false;                            ///< listens on this machine alone: without a key, Host must name it
  std::vector<std::string> allowed_hosts = {};      ///< further names that Host may have then; {"*"}: any
  std::chrono::milliseconds ping_interval{15'000};  ///< SSE comment after so much silence; 0: never
  std::chrono::milliseconds request_timeout{0};     ///< for requests that name none; 0: no limit
  FetchPolicy image_urls = {};                      ///< whose URLs of images are fetched
  MetricNames metric_names = MetricNames::kOwn;     ///< of /metrics
  /// Where spans go; empty: nowhere. Shared: requests may outlive the service.
  std::shared_ptr<SpanExporter> spans = {};
  std::string cloud_project = {};  ///< Google Cloud's, for the trace names in the log
  bool log_prompts = false;        ///< bodies of generations go into their log lines
  bool sanitize = false;           ///< control tokens spelled in requests are plain text, unless a request says
  /// Kept for all requests. Shared: copies of these options ask the same vocabulary.
  std::shared_ptr<VocabularyFacts> vocabulary = std::make_shared<VocabularyFacts>();
  std::span<const PageFile> page = {};  ///< files of the web page; empty: none is served
  std::string version = "0.1.0";
  std::string system_fingerprint = {};  ///< "" is null
  AdapterKeeper* adapters = nullptr;    ///< that requests may name; null: none. ApiService takes the engine's
  /// Added to the body of /health, e.g. {"stages": [...]}. Called on the server's threads; must not block. May be
  /// empty.
  std::function<Json()> status = {};
  /// What `status` gives, while the chain is not awake yet; nothing once it is. Streams that wait for the chain tell
  /// their clients of it. Called on the server's threads; must not block for long. May be empty.
  std::function<std::optional<Json>()> warming = {};
  std::chrono::milliseconds warming_interval{2'000};  ///< between two such messages
  /// POST /warm: starts loading all stages and returns at once. May be empty.
  std::function<void()> wake = {};
};

}  // namespace commissure
