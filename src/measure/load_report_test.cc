#include "measure/load_report.h"

#include <gtest/gtest.h>

#include "measure/load_plot.h"

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

TEST(LoadReport, TablesFitEightyColumns) {
  LoadResult result;
  result.seconds = 12345;
  for (int i = 0; i < 3; ++i) result.records.push_back(record(1234.5678, 12345.6789, 3));
  const LoadReport report = make_report(result, {});
  for (const std::string& table : {report_text(report), sweep_text({{64, report}})}) {
    for (std::size_t begin = 0; begin < table.size();) {
      const std::size_t end = table.find('\n', begin);
      EXPECT_LE(end - begin, 80u) << table;
      begin = end + 1;
    }
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
