#include "engine/lookout.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace rvvm {

namespace {

int make_alarm() {
  const int alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (alarm < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  return alarm;
}

timespec to_timespec(std::chrono::nanoseconds time) {
  constexpr auto second = std::nano::den;
  return {time.count() / second, time.count() % second};
}

}  // namespace

Lookout::Lookout() : alarm_{make_alarm()} {}
Lookout::~Lookout() { close(alarm_); }

void Lookout::ring() {
  rung_ = true;
  if (asleep_) eventfd_write(alarm_, 1);
}

void Lookout::watch(int file) {
  {
    std::lock_guard lock(mutex_);
    std::erase_if(files_, [file](const pollfd& known) { return known.fd == file; });
    files_.push_back({file, POLLIN, 0});
    watches_ = true;
  }
  if (asleep_) ring();  // who sleeps does not look at this one
}

const std::vector<int>& Lookout::look(std::chrono::nanoseconds longest) {
  ready_.clear();
  if (longest.count() == 0) {
    poll_files(longest);
  } else {
    asleep_ = true;  // before it looks whether something has come
    poll_files(rung_ ? std::chrono::nanoseconds{0} : longest);
    asleep_ = false;
    rung_ = false;
    if (eventfd_t rings; polled_.back().revents) eventfd_read(alarm_, &rings);
  }
  take_ready();
  return ready_;
}

void Lookout::poll_files(std::chrono::nanoseconds longest) {
  {
    std::lock_guard lock(mutex_);
    polled_ = files_;
  }
  polled_.push_back({alarm_, POLLIN, 0});
  const timespec time = to_timespec(longest);
  if (ppoll(polled_.data(), polled_.size(), &time, nullptr) <= 0)
    for (pollfd& each : polled_) each.revents = 0;  // a signal came: nothing is known
}

void Lookout::take_ready() {
  for (std::size_t k = 0; k + 1 < polled_.size(); ++k)
    if (polled_[k].revents) ready_.push_back(polled_[k].fd);
  if (ready_.empty()) return;
  std::lock_guard lock(mutex_);
  for (const int file : ready_)
    std::erase_if(files_, [file](const pollfd& known) { return known.fd == file; });
  watches_ = !files_.empty();
}

}  // namespace rvvm
