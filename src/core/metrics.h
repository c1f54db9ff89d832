#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace commissure {

using MetricLabels = std::map<std::string, std::string>;

/// A number that only grows. Cheap to copy; valid as long as its Metrics. Threading: any thread.
class Counter {
 public:
  explicit Counter(prometheus::Counter& counter) : counter_(&counter) {}
  void add(double n = 1.0);
  double value() const;

 private:
  prometheus::Counter* counter_;
};

/// A number that goes up and down. Cheap to copy; valid as long as its Metrics. Threading: any thread.
class Gauge {
 public:
  explicit Gauge(prometheus::Gauge& gauge) : gauge_(&gauge) {}
  void set(double value);
  double value() const;

 private:
  prometheus::Gauge* gauge_;
};

/// How often values fell below given bounds. Cheap to copy; valid as long as its Metrics. Threading: any thread.
class Histogram {
 public:
  explicit Histogram(prometheus::Histogram& histogram) : histogram_(&histogram) {}
  void observe(double value);

 private:
  prometheus::Histogram* histogram_;
};

/// The metrics of one process, as Prometheus reads them. Asking twice for the same name and labels gives the same
/// metric. Names and labels are the program's own; a bad one is a broken invariant.
/// Threading: any thread.
class Metrics {
 public:
  /// `prefix` goes before every name, e.g. "commissure_".
  explicit Metrics(std::string prefix);
  ~Metrics();

  Counter counter(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  Gauge gauge(std::string_view name, std::string_view help, const MetricLabels& labels = {});
  /// `bounds`: upper bounds of the buckets, rising; a last bucket without bound is added.
  Histogram histogram(std::string_view name, std::string_view help, const std::vector<double>& bounds,
                      const MetricLabels& labels = {});

  /// All metrics in Prometheus' text format.
  std::string text() const;

 private:
  struct State;
  const std::string prefix_;
  std::unique_ptr<State> state_;
};

}  // namespace commissure
