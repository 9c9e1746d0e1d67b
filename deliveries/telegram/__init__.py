"""Telegram's bots, but for the messages (`deliveries.providers.telegram`): users link their chats, and end that."""
