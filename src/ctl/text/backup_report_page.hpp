// A report as one page of HTML that needs no other file, no script and no network: for browsers, wide and
// narrow, for paper, and for mail, where the plots may be missing but no number is.
//
// The page is ASCII in lines of less than 1000 bytes, so that mail carries it as it is. Pure, but for the
// time zone.
#pragma once

#include <string>

#include "ctl/text/backup_report.hpp"

namespace vmad::ctl {

[[nodiscard]] std::string report_page(const BackupReport& report);

}  // namespace vmad::ctl
