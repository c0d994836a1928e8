// backup_report_page.html, a mustache template, as it was at build time.
#pragma once

#include <string_view>

namespace vmad::ctl {

[[nodiscard]] std::string_view report_page_template() noexcept;

}  // namespace vmad::ctl
