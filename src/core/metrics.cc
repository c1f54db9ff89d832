#include "core/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace commissure {

struct Metrics::State {
  prometheus::Registry registry;
};

namespace {

/// The family `prefix + name`, made on first use.
template <typename Builder>
auto& family(Builder builder, const std::string& prefix, std::string_view name, std::string_view help,
             prometheus::Registry& registry) {
  return builder.Name(prefix + std::string(name)).Help(std::string(help)).Register(registry);
}

}  // namespace

void Counter::add(double n) { counter_->Increment(n); }
double Counter::value() const { return counter_->Value(); }

void Gauge::set(double value) { gauge_->Set(value); }
double Gauge::value() const { return gauge_->Value(); }

void Histogram::observe(double value) { histogram_->Observe(value); }

Metrics::Metrics(std::string prefix) : prefix_(std::move(prefix)), state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

Counter Metrics::counter(std::string_view name, std::string_view help, const MetricLabels& labels) {
  return Counter(family(prometheus::BuildCounter(), prefix_, name, help, state_->registry).Add(labels));
}

Gauge Metrics::gauge(std::string_view name, std::string_view help, const MetricLabels& labels) {
  return Gauge(family(prometheus::BuildGauge(), prefix_, name, help, state_->registry).Add(labels));
}

Histogram Metrics::histogram(std::string_view name, std::string_view help, const std::vector<double>& bounds,
                             const MetricLabels& labels) {
  return Histogram(family(prometheus::BuildHistogram(), prefix_, name, help, state_->registry).Add(labels, bounds));
}

std::string Metrics::text() const { return prometheus::TextSerializer().Serialize(state_->registry.Collect()); }

}  // namespace commissure
