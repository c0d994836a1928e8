#include "ctl/stop_signals.hpp"

#include "base/error.hpp"

namespace vmad::ctl {
namespace {

// A signal handler reaches nothing but globals.
base::CancelFlag stop_flag;
volatile sig_atomic_t stop_signal = 0;

void on_stop(int signal) {
    stop_signal = signal;
    stop_flag.request();
}

}  // namespace

StopSignals::StopSignals() {
    struct sigaction action {};
    action.sa_handler = on_stop;
    action.sa_flags = SA_RESTART;
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
        if (::sigaction(kSignals[i], &action, &old_[i]) < 0) base::throw_errno("sigaction", "a signal");
        // Who started us with one of them ignored, as nohup and a shell's background jobs do, wants it so.
        if (old_[i].sa_handler == SIG_IGN) ::sigaction(kSignals[i], &old_[i], nullptr);
    }
}

StopSignals::~StopSignals() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &old_[i], nullptr);
}

const base::CancelFlag& StopSignals::flag() const noexcept { return stop_flag; }

int StopSignals::exit_status() noexcept { return 128 + stop_signal; }

}  // namespace vmad::ctl
