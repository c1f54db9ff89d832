#include "measure/load_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "measure/load_plot.h"
#include "support/text_lines.h"

namespace commissure {
namespace {

RequestRecord record(double first, double last, int n_tokens) {
  RequestRecord made;
  made.first = first;
  made.last = last;
  made.output_tokens = n_tokens;
  made.prompt_tokens = 10;
  made.gaps.assign(n_tokens - 1, (last - first) / (n_tokens - 1));
  return made;
}

TEST(LoadReport, PercentilesAreLinearBetweenNeighbours) {
  const std::vector<double> values = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(percentile(values, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(percentile(values, 0.9), 3.7);
  EXPECT_DOUBLE_EQ(percentile(values, 1), 4);
  EXPECT_DOUBLE_EQ(percentile({}, 0.5), 0);
}

TEST(LoadReport, FollowsTheDefinitions) {
  LoadResult result;
  result.seconds = 2;
  result.records = {record(0.1, 1.1, 11), record(0.3, 1.3, 6), RequestRecord{}};
  result.records[2].problem = "refused";
  const LoadReport report = make_report(result, *parse_goodput("ttft:200,tpot:100.5"));
  const Json json = report_json(report);
  EXPECT_EQ(json["completed"], 2);
  EXPECT_EQ(json["failed"], 1);
  EXPECT_EQ(json["total_output_tokens"], 17);
  EXPECT_DOUBLE_EQ(json["output_throughput"], 8.5);
  EXPECT_DOUBLE_EQ(json["request_goodput"], 0.5);  // the second one is too late
  EXPECT_NEAR(json["mean_ttft_ms"].get<double>(), 200, 1e-9);
  EXPECT_NEAR(json["median_tpot_ms"].get<double>(), 150, 1e-9);
  EXPECT_EQ(report.series[2].ms.size(), 15u);
  EXPECT_EQ(json["problems"]["refused"], 1);
}

TEST(LoadReport, GoodputNamesWhatItDoesNotKnow) {
  for (const char* text : {"ttft", "ttft:", "ttft:x", "foo:3", "ttft:-1", "tpot:5,,"}) {
    const auto limits = parse_goodput(text);
    ASSERT_FALSE(limits.has_value()) << text;
    EXPECT_NE(limits.error().message().find("ttft:200,tpot:50"), std::string::npos);
  }
  EXPECT_FALSE(parse_goodput("")->any());
}

TEST(LoadRun, ArrivalsAreSeededAndHaveTheRate) {
  const auto times = poisson_arrivals(10000, 50, 7);
  EXPECT_EQ(times, poisson_arrivals(10000, 50, 7));
  EXPECT_NE(times, poisson_arrivals(10000, 50, 8));
  EXPECT_NEAR(times.back(), 10000 / 50.0, 6);  // three standard deviations of the sum
}

TEST(LoadPrompts, ShareTheirBeginning) {
  const LoadPrompts prompts(1, 40, 0.5);
  const std::string a = prompts.make(0);
  const std::string b = prompts.make(1);
  EXPECT_EQ(a, prompts.make(0));
  EXPECT_NE(a, b);
  std::size_t same = 0;
  while (a[same] == b[same]) ++same;
  EXPECT_GE(std::count(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(same), ' '), 20);
}

TEST(LoadPrompts, HaveAsManyWordsAsWereAsked) {
  const auto n_words = [](const std::string& text) { return std::count(text.begin(), text.end(), ' ') + 1; };
  for (const int n : {1, 2, 7, 300}) EXPECT_EQ(n_words(LoadPrompts(3, n, 0.5).make(9)), n);
  EXPECT_EQ(LoadPrompts(3, 0, 0).n_words(), 1) << "an empty prompt is none";
  const LoadPrompts all_shared(3, 20, 1), none_shared(3, 20, 0);
  EXPECT_EQ(all_shared.make(0), all_shared.make(1));
  EXPECT_NE(none_shared.make(0).substr(0, 20), none_shared.make(1).substr(0, 20));
  EXPECT_NE(LoadPrompts(4, 20, 1).make(0), all_shared.make(0)) << "another seed, other prompts";
}

TEST(LoadPrompts, AreOneWordATokenWhereTheServerCannotTell) {
  EXPECT_EQ(fit_prompts({.url = "http://127.0.0.1:1", .api_key = ""}, "m", 1, 50, 0).n_words(), 50);
}

TEST(LoadRun, ArrivalsBeginAtOnceAndNeverGoBack) {
  EXPECT_TRUE(poisson_arrivals(0, 1, 1).empty());
  const auto times = poisson_arrivals(1000, 0.5, 3);
  EXPECT_EQ(times.front(), 0);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
}

TEST(LoadRun, ARequestThatIsRefusedIsARecordWithItsProblem) {
  LoadOptions options;
  options.endpoint.url = "http://127.0.0.1:1";
  options.n_requests = 3;
  options.concurrency = 2;
  int n_done = 0;
  const LoadResult result = run_load(options, LoadPrompts(1, 4, 0), [&](int n) { n_done = n; });
  ASSERT_EQ(result.records.size(), 3u);
  EXPECT_EQ(n_done, 3);
  for (const RequestRecord& one : result.records) EXPECT_FALSE(one.ok());
  const LoadReport report = make_report(result, {});
  EXPECT_EQ(report.failed, 3);
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0].second, 3);
}

TEST(LoadRun, ATokenTakesTheTimeBehindTheFirst) {
  EXPECT_DOUBLE_EQ(record(0.5, 2.5, 5).per_token(), 0.5);
  RequestRecord one;
  one.first = one.last = 0.5;
  one.output_tokens = 1;
  EXPECT_EQ(one.per_token(), 0);
}

TEST(LoadReport, CountsEachProblemOnce) {
  LoadResult result;
  for (const char* problem : {"slow", "refused", "slow"}) result.records.emplace_back().problem = problem;
  const std::string text = report_text(make_report(result, {}));
  EXPECT_NE(text.find("\nFailed once: refused\nFailed 2 times: slow\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("goodput"), std::string::npos) << "only where limits were given";
}

TEST(LoadReport, SaysWhenItsOwnConnectionsWereTheLimit) {
  LoadResult result;
  result.seconds = 1;
  result.records = {record(0.1, 1.1, 3)};
  result.records[0].late = 0.1;
  EXPECT_EQ(report_text(make_report(result, {})).find("--concurrency"), std::string::npos) << "a little is nothing";
  result.records[0].late = 0.25;
  const LoadReport report = make_report(result, {});
  EXPECT_NE(report_text(report).find("Requests left up to 250 ms after their time"), std::string::npos);
  EXPECT_EQ(report_json(report)["max_send_delay_ms"], 250);
}

TEST(LoadReport, IsNothingButZerosWithoutRequests) {
  const Json json = report_json(make_report({}, {}));
  for (const auto& [key, value] : json.items()) {
    if (key == "request_goodput") {
      EXPECT_TRUE(value.is_null());
    } else if (key != "problems") {
      EXPECT_EQ(value, 0) << key;
    }
  }
}

TEST(LoadReport, NamesWhatVllmNames) {
  LoadResult result;
  result.seconds = 1;
  result.records = {record(0.1, 1.1, 3)};
  const Json json = report_json(make_report(result, {}));
  for (const char* latency : {"ttft", "tpot", "itl", "e2el"}) {
    for (const char* what : {"mean_", "median_", "p50_", "p90_", "p99_"})
      EXPECT_TRUE(json.contains(std::string(what) + latency + "_ms")) << what << latency;
  }
}

TEST(LoadReport, ASweepHasAReportForEachPoint) {
  LoadResult result;
  result.seconds = 2;
  result.records = {record(0.1, 1.1, 3)};
  const LoadReport report = make_report(result, {});
  const Json json = sweep_json({{1, report}, {8, report}})["sweep"];
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[1]["streams"], 8);
  EXPECT_EQ(json[1]["completed"], 1);
  const std::string svg = sweep_svg({{1, report}, {8, report}}, "x");
  EXPECT_NE(svg.find("Throughput and latency by streams"), std::string::npos);
  EXPECT_NE(svg.find(">p99<"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(LoadReport, TablesFitEightyColumns) {
  LoadResult result;
  result.seconds = 12345;
  for (int i = 0; i < 3; ++i) result.records.push_back(record(1234.5678, 12345.6789, 3));
  const LoadReport report = make_report(result, {});
  for (const std::string& table : {report_text(report), sweep_text({{64, report}})}) {
    for (const std::string_view line : testing::lines_of(table)) EXPECT_LE(line.size(), 80u) << table;
  }
}

TEST(LoadPlot, WritesWholeNumbersAtItsAxes) {
  LoadResult result;
  result.records.push_back(record(1e3, 2e4, 3));
  const std::string svg = plot_svg(make_report(result, {}), "x");
  EXPECT_NE(svg.find(">20,000,000<"), std::string::npos) << "milliseconds";
  EXPECT_EQ(svg.find("e+"), std::string::npos);
}

TEST(LoadPlot, DrawsAnyReport) {
  LoadResult result;
  EXPECT_NE(plot_svg(make_report(result, {}), "<none>").find("&lt;none&gt;"), std::string::npos);
  for (int i = 0; i < 1000; ++i) result.records.push_back(record(0.001 * i, 1 + 0.001 * i, 3));
  const std::string svg = plot_svg(make_report(result, {}), "x");
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_LT(svg.size(), 100'000u);
}

}  // namespace
}  // namespace commissure
